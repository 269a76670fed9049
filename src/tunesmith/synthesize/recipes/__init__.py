"""What is asked of a teacher, and what an answer to it must be; one file a recipe."""
