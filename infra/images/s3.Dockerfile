# Not yet run: written where no container engine is; the same `go install` lines run outside.
#
# There are no images of MinIO to pull any more, so it is built from its last source. The gateway of
# Versity is a second real S3, over a plain folder.
#
#   docker build -f infra/images/s3.Dockerfile --target minio -t voxrelay-minio infra/images

FROM golang:1.24-bookworm AS build
ENV CGO_ENABLED=0 GOTOOLCHAIN=auto

FROM build AS minio-build
RUN go install github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c

FROM build AS versitygw-build
RUN go install github.com/versity/versitygw/cmd/versitygw@v1.8.0

FROM debian:bookworm-slim AS base
RUN useradd --create-home --uid 10001 store && mkdir /objects && chown store /objects
USER store
VOLUME /objects
EXPOSE 9000

FROM base AS minio
COPY --from=minio-build /go/bin/minio /usr/local/bin/minio
ENTRYPOINT ["minio", "server", "/objects", "--address", ":9000"]

FROM base AS versitygw
COPY --from=versitygw-build /go/bin/versitygw /usr/local/bin/versitygw
ENTRYPOINT ["versitygw", "--port", ":9000", "--health", "/health"]
CMD ["posix", "/objects"]
