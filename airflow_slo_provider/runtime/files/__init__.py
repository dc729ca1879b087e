"""Files of a task: documents, serving decisions, reports and object storage."""
