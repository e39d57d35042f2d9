"""The routes of each API: a request is read, the service asked, the answer put in the API's shape; nothing else."""
