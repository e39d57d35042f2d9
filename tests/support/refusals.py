"""What an error about input must have: its class, its field, and the value that it is about; not how it is worded."""

import re
from contextlib import contextmanager

import pytest

from jaxembed.errors import InputError


@contextmanager
def refused(field, *named, error=InputError, match=None):
    """Expects that what is inside is refused, and gives what `pytest.raises` gives.

    field: what the error is about, None where it is about no one field. named: what its message must hold, as whole words: the
    value, the file, the way out. error: its class, exactly. match: of `pytest.raises`, where the wording is a promise.
    """
    with pytest.raises(error, match=match) as raised:
        yield raised
    assert type(raised.value) is error
    assert raised.value.field == field
    message = str(raised.value)
    assert message
    missing = [one for one in named if not re.search(rf"(?<!\w){re.escape(one)}(?!\w)", message)]
    assert not missing, message
