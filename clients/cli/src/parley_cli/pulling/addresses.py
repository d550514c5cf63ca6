"""Which addresses models may come from: https, and http only on this machine. Used by `catalogue` and `download`."""

from urllib.parse import SplitResult, urljoin, urlsplit

from parley_servicekit.settings import is_loopback

_URL_MAX_CHARS = 4096


class AddressError(ValueError):
    """Not an address that models are fetched from."""


def checked(url: str) -> SplitResult:
    """The parts of a safe address. Raises AddressError, also for one with a password in it."""
    if len(url) > _URL_MAX_CHARS or not url.isascii() or any(each <= " " or each == "\x7f" for each in url):
        raise AddressError(url)
    try:
        parts = urlsplit(url)
        is_local = is_loopback(parts.hostname or "")
        _ = parts.port
    except ValueError:
        raise AddressError(url) from None
    if not parts.hostname or parts.username is not None or parts.password is not None:
        raise AddressError(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and is_local):
        raise AddressError(url)
    return parts


def redirected(url: str, location: str) -> str:
    """Where a redirect leads. Raises AddressError where that is less safe than where it came from."""
    target = urljoin(url, location)
    if checked(target).scheme != "https" and checked(url).scheme == "https":
        raise AddressError(target)
    return target


def host_of(url: str) -> str:
    """The host, for people."""
    return urlsplit(url).hostname or url
