"""Who may use a route, how browsers are kept from doing what nobody asked them to, and how large a request may be."""

from distributor.web.security.credentials import COOKIE, Caller
from distributor.web.security.csrf import FIELD as CSRF_FIELD
from distributor.web.security.login import forget, log_in, log_out, remember
from distributor.web.security.needs import anyone, needs

__all__ = ["COOKIE", "CSRF_FIELD", "Caller", "anyone", "forget", "log_in", "log_out", "needs", "remember"]
