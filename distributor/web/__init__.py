"""The HTTP API and the pages: documents of `distributor.views`, over HTTP."""
