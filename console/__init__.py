"""What an operator types and sees: the `shoploop` command."""
