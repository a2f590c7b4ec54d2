"""The SQLite database: its schema, one module for each family of tables, writer and reader."""
