"""Traces of a frame's way, for whoever collects them."""

from urllib.parse import urlsplit

from pydantic import Field, field_validator

from gate.config_section import Section


class TracingConfig(Section):
    """OpenTelemetry traces of a frame's way. Needs `facegate[otel]`."""

    endpoint: str | None = None
    """Where spans are sent by OTLP over HTTP, such as `http://127.0.0.1:4318/v1/traces`; null traces nothing. Headers
    and certificates come from OpenTelemetry's own variables, such as `OTEL_EXPORTER_OTLP_HEADERS`."""

    ratio: float = Field(default=0.01, gt=0, le=1)
    """Share of the frames that are traced, chosen by chance."""

    service: str = Field(default="facegate", min_length=1, max_length=128)
    """Name of this gate among the services of the collector."""

    @field_validator("endpoint")
    @classmethod
    def _is_an_address_without_a_secret(cls, endpoint: str | None) -> str | None:
        if endpoint is None:
            return None
        parts = urlsplit(endpoint)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("not an http:// or https:// address; try http://127.0.0.1:4318/v1/traces")
        if "@" in parts.netloc or parts.query:
            raise ValueError("secrets do not belong into this address; set OTEL_EXPORTER_OTLP_HEADERS")
        return endpoint
