"""What schemathesis cannot read in a schema: the limits of a ref, a label or a name are in bytes, a schema's in characters."""

import schemathesis

LEAST_LIMIT = 200


def plain(value):
    """Without a text that is longer in bytes than in characters, and near a limit."""
    if isinstance(value, dict):
        return all(plain(name) and plain(inner) for name, inner in value.items())
    if isinstance(value, list):
        return all(map(plain, value))
    return not isinstance(value, str) or value.isascii() or len(value.encode(errors="replace")) <= LEAST_LIMIT


@schemathesis.hook
def filter_body(context, body):
    return plain(body)


@schemathesis.hook
def filter_query(context, query):
    return plain(query)
