"""The paper's tables and figures, made again: what is published, what is trained for it, and what came out."""
