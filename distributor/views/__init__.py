"""The documents that the command line, the HTTP API and the pages give alike, and how they are computed."""
