"""A job: work that declares its inputs, from which its key and its parents follow."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import Field, dataclass, field, fields, is_dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from dpbench.jobs.array_file import Arrays
from dpbench.jobs.keys import key_of

if TYPE_CHECKING:
    from dpbench.jobs.inputs import Inputs


class Output(NamedTuple):
    """The result of a job: a record of plain values, and arrays by name."""

    record: Mapping[str, Any]
    arrays: Arrays | None = None


def unkeyed(**arguments: Any) -> Any:
    """Returns a dataclass field that does not enter a job's key, such as a label."""
    return field(metadata={"keyed": False}, **arguments)


@dataclass(frozen=True, kw_only=True, eq=False)
class Job(ABC):
    """One unit of work: a frozen dataclass whose fields are all that its result depends on.

    A field is a plain value, another job, an object with `identity()`, a frozen dataclass of these,
    or a tuple of these. The key is a digest of the kind, the version and all fields but those made
    with `unkeyed`. The parents are the jobs that the fields hold.

    Attributes:
        kind: The kind of work.
        version: Raised by hand when the results of this kind change for all inputs.
        rank: Kinds of a lower rank run first.
        tolerant: The job runs without the parents that failed, as long as one has a result.
    """

    kind: ClassVar[str]
    version: ClassVar[int] = 1
    rank: ClassVar[int] = 0
    tolerant: ClassVar[bool] = False

    @cached_property
    def key(self) -> str:
        """Content key of everything the result depends on."""
        declared = {one.name: _plain(getattr(self, one.name)) for one in _keyed(self)}
        return key_of({"kind": self.kind, "version": self.version, "inputs": declared})

    @cached_property
    def inputs(self) -> tuple["Job", ...]:
        """The jobs whose results this one reads, in the order of the fields."""
        found = (job for one in _keyed(self) for job in _jobs_in(getattr(self, one.name)))
        return tuple({job.key: job for job in found}.values())

    @cached_property
    def parents(self) -> tuple[str, ...]:
        """Keys of the inputs."""
        return tuple(job.key for job in self.inputs)

    @property
    @abstractmethod
    def label(self) -> str:
        """What the job does, for people."""

    @property
    @abstractmethod
    def seconds(self) -> float:
        """Nominal cost: work divided by the rate of one reference core."""

    @abstractmethod
    def run(self, inputs: "Inputs") -> Output:
        """Does the work with nothing but the fields and the results of the declared jobs.

        Raises:
            NoResult: The job has no result; the tables show the reason.
        """


def ordered(jobs: Iterable[Job]) -> dict[str, Job]:
    """Returns jobs ordered by rank, then by falling cost, so that cores stay busy to the end."""
    in_order = sorted(jobs, key=lambda job: (job.rank, -job.seconds, job.key))
    return {job.key: job for job in in_order}


def _keyed(value: Any) -> list[Field[Any]]:
    return [one for one in fields(value) if one.metadata.get("keyed", True)]


def _plain(value: Any) -> Any:
    """Returns the plain value that stands for a field in a key."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Job):
        return value.key
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    # Before dataclasses: a component is one, and its name and version enter the key too.
    if hasattr(value, "identity"):
        return _plain(value.identity())
    if is_dataclass(value):
        return {one.name: _plain(getattr(value, one.name)) for one in _keyed(value)}
    raise TypeError(f"{type(value).__name__} cannot be a job's input: it has no identity()")


def _jobs_in(value: Any) -> Iterator[Job]:
    if isinstance(value, Job):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from _jobs_in(item)
    # An object with identity() enters the key as plain values, so it holds no job.
    elif is_dataclass(value) and not hasattr(value, "identity"):
        for one in _keyed(value):
            yield from _jobs_in(getattr(value, one.name))
