# Not yet run: written where no container engine is; the steps inside are those of `make env`.
#
#   docker build -f infra/images/voxrelay.Dockerfile --target cpu -t voxrelay:cpu .
#   docker build -f infra/images/voxrelay.Dockerfile --target gpu -t voxrelay:gpu .
#
# The wheels of PyTorch bring CUDA themselves, so both start from the same small base; the gpu one
# wants NVIDIA's container toolkit on the host.

FROM python:3.11-slim-bookworm AS base
ENV PYTHONUNBUFFERED=1 UV_COMPILE_BYTECODE=1 PIP_NO_CACHE_DIR=1 UV_NO_CACHE=1
WORKDIR /app
RUN python -m venv /opt/voxrelay && useradd --create-home --uid 10001 voxrelay \
    && mkdir /data && chown voxrelay /data
ENV PATH=/opt/voxrelay/bin:$PATH
COPY infra/bootstrap.txt infra/install.py infra/
COPY requirements.lock ./

FROM base AS cpu-packages
RUN python infra/install.py requirements.lock

FROM base AS gpu-packages
RUN VOXRELAY_TORCH=locked python infra/install.py requirements.lock

# What both have in common once packages are there: our code, a user, a way to ask.
FROM cpu-packages AS cpu
COPY . .
RUN python infra/install.py --ours && python -m compileall -q .
USER voxrelay
ENV VOXRELAY_DATA=/data VOXRELAY_INGEST_HOST=0.0.0.0 VOXRELAY_METRICS_PORT=9100
VOLUME /data
EXPOSE 8080 9100
HEALTHCHECK --interval=5s --timeout=4s --start-period=300s --retries=3 \
    CMD ["python", "-m", "infra.images.ready"]
ENTRYPOINT ["voxrelay"]
CMD ["run", "ingest"]

FROM gpu-packages AS gpu
COPY . .
RUN python infra/install.py --ours && python -m compileall -q .
USER voxrelay
ENV VOXRELAY_DATA=/data VOXRELAY_INGEST_HOST=0.0.0.0 VOXRELAY_METRICS_PORT=9100
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
VOLUME /data
EXPOSE 8080 9100
HEALTHCHECK --interval=5s --timeout=4s --start-period=300s --retries=3 \
    CMD ["python", "-m", "infra.images.ready"]
ENTRYPOINT ["voxrelay"]
CMD ["run", "synth"]
