"""Files of a task: documents, decisions, reports, object storage."""
