"""Running one reading statement on any database connection, in a read-only snapshot where the database has them."""
