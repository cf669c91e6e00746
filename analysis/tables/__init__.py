"""Make tables for programs and for people: one file is one kind of table."""
