"""The process that trains: torch and foreign model code run in it, keys and connections stay outside."""
