"""aiokafka's errors as ours.

Knows which of them mean that a setting is wrong; every other one means that the broker is away.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from aiokafka import errors as kafka

from relay.errors import Misconfigured, RelayError, Unavailable

_SIGN_IN = (
    kafka.AuthenticationFailedError,
    kafka.SaslAuthenticationFailed,
    kafka.UnsupportedSaslMechanismError,
    kafka.IllegalSaslStateError,
)
_FORBIDDEN = (
    kafka.TopicAuthorizationFailedError,
    kafka.GroupAuthorizationFailedError,
    kafka.ClusterAuthorizationFailedError,
    kafka.TransactionalIdAuthorizationFailed,
)
_WRONG = (
    kafka.IncompatibleBrokerVersion,
    kafka.UnsupportedVersionError,
    kafka.InvalidConfigurationError,
    kafka.InvalidTransactionTimeout,
    kafka.InvalidSessionTimeoutError,
    kafka.InconsistentGroupProtocolError,
    kafka.InvalidTopicError,
    kafka.PolicyViolationError,
    kafka.MessageSizeTooLargeError,
    kafka.RecordListTooLargeError,
    kafka.OffsetMetadataTooLargeError,
)
SOON = (
    kafka.GroupCoordinatorNotAvailableError,
    kafka.GroupLoadInProgressError,
    kafka.NotCoordinatorForGroupError,
    kafka.NotControllerError,
)
"""The cluster is busy with itself: asked again in a moment it knows."""
FORGOTTEN = (kafka.InvalidProducerIdMapping, kafka.UnknownProducerId)
"""The broker no longer knows the producer: it was idle for longer than such things are kept."""


class NoOffset(Misconfigured):
    """A group or a source has no committed offset where `voxrelay topics apply` writes one."""


def translate(error: BaseException) -> RelayError:
    """What `error`, or what caused it, means to us."""
    for cause in causes([error]):
        if isinstance(cause, RelayError):
            return cause
        if isinstance(cause, _SIGN_IN):
            return Misconfigured(
                "Kafka refuses our name or password (VOXRELAY_KAFKA_USERNAME, "
                f"VOXRELAY_KAFKA_PASSWORD, VOXRELAY_KAFKA_SASL_MECHANISM): {_name(cause)}"
            )
        if isinstance(cause, ssl.SSLCertVerificationError):
            return Misconfigured(
                "Kafka's certificate is not signed by whom we trust (VOXRELAY_KAFKA_CA_FILE), "
                f"or names another host: {cause.verify_message}"
            )
        if isinstance(cause, _FORBIDDEN):
            return Misconfigured(
                f"Kafka forbids it; `voxrelay topics acl` prints the ACLs: {cause}"
            )
        if isinstance(cause, kafka.InvalidReplicationFactorError):
            return Misconfigured(f"VOXRELAY_KAFKA_REPLICATION is more than the brokers: {cause}")
        if isinstance(cause, _WRONG):
            return Misconfigured(f"Kafka refuses our settings: {cause}")
    return Unavailable(f"Kafka does not answer as it should: {_name(error)}")


def causes(errors: Iterable[BaseException]) -> Iterator[BaseException]:
    """Each of `errors`, followed by what it was raised from."""
    for error in errors:
        link: BaseException | None = error
        while link is not None:
            yield link
            link = link.__cause__


@contextmanager
def translating() -> Iterator[None]:
    """Errors of aiokafka and of sockets leave as ours."""
    try:
        yield
    except (kafka.KafkaError, OSError) as error:  # TimeoutError is an OSError
        raise translate(error) from error


def _name(error: BaseException) -> str:
    return str(error) or type(error).__name__
