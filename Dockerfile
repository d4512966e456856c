# headrace: the API, the workers and the commands in one image, with an embedded PostgreSQL.
FROM python:3.11.13-slim-bookworm AS build
RUN python -m venv /opt/headrace
COPY requirements/runtime.txt /build/runtime.txt
# Every package by its hash; none is built here, so nothing runs that was not pinned.
RUN /opt/headrace/bin/pip install --no-cache-dir --disable-pip-version-check \
      --only-binary :all: --require-hashes -r /build/runtime.txt \
 && /opt/headrace/bin/pip uninstall --yes pip setuptools
COPY src/headrace /opt/headrace/lib/python3.11/site-packages/headrace
# Its root file system may be read-only: what Python would write beside its files is there already.
RUN python -m compileall -q /opt/headrace/lib/python3.11/site-packages/headrace

FROM python:3.11.13-slim-bookworm
# PostgreSQL asks for a user with a name, and does not run as root.
RUN groupadd --system --gid 10001 headrace \
 && useradd --system --uid 10001 --gid headrace --home-dir /var/lib/headrace --no-create-home headrace \
 && install --directory --owner headrace --group headrace --mode 0700 /var/lib/headrace
COPY --from=build /opt/headrace /opt/headrace
COPY LICENSE NOTICE /usr/share/doc/headrace/
ENV PATH=/opt/headrace/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HEADRACE_HOME=/var/lib/headrace
# headrace.toml and recipes/ are looked for here; database and blobs rest here.
WORKDIR /var/lib/headrace
VOLUME ["/var/lib/headrace"]
USER 10001:10001
EXPOSE 8400
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
  CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8400/readyz', timeout=4)"]
# The exec form: signals reach headrace itself, which drains and ends with 0.
ENTRYPOINT ["python", "-m", "headrace"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8400"]
