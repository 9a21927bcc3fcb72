"""What every component must have: documentation, and fields that survive a round trip."""

from dpbench.component import Component


def check_component(component: Component) -> None:
    """Checks name, version, docstring, reference, and the round trip of the fields through JSON.

    Raises:
        AssertionError: Something is missing, or the fields do not come back as they were.
    """
    cls = type(component)
    name = component.label()
    # A dataclass without a docstring is given its signature as one.
    written = (cls.__doc__ or "").strip()
    assert written, f"{name}: write a docstring"
    assert not written.startswith(f"{cls.__name__}("), f"{name}: write a docstring"
    assert getattr(cls, "reference", "").strip(), f"{name}: set `reference: ClassVar[str]`"
    assert isinstance(cls.version, int), f"{name}: version is {cls.version!r}, not an integer"
    copy = cls.parse(component.to_json(), where=cls.name)
    assert copy == component, f"{name}: its fields come back from JSON as {copy}"
    assert copy.identity() == component.identity(), f"{name}: equal fields, different identities"
