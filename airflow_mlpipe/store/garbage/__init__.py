"""What nobody can use any more, and its deletion."""
