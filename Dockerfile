# One image for all services: docker build -t topo-search .
# With TensorFlow's CUDA libraries: docker build --build-arg EXTRAS=gpu -t topo-search .
FROM python:3.11-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PATH=/opt/topo-search/.venv/bin:$PATH
RUN python -m venv /opt/topo-search/.venv
WORKDIR /build
COPY constraints.txt pyproject.toml README.md ./
ARG EXTRAS=
# The dependencies first, around empty packages, so that a change of the code fetches none of them.
RUN mkdir objectives storage topo_search \
    && touch objectives/__init__.py storage/__init__.py topo_search/__init__.py \
    && pip install -c constraints.txt ".${EXTRAS:+[$EXTRAS]}"
COPY objectives objectives
COPY storage storage
COPY topo_search topo_search
RUN pip install --no-deps --force-reinstall .

FROM python:3.11-slim-bookworm
# A volume takes over the owner of the folder that it first covers.
RUN useradd --uid 10001 --no-create-home --home-dir /var/lib/topo-search \
        --shell /usr/sbin/nologin topo-search \
    && install -d -m 700 -o topo-search -g topo-search /var/lib/topo-search
COPY --from=build /opt/topo-search /opt/topo-search
ENV PATH=/opt/topo-search/.venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    TOPO_SEARCH_HOME=/var/lib/topo-search
USER 10001:10001
WORKDIR /var/lib/topo-search
VOLUME /var/lib/topo-search
STOPSIGNAL SIGTERM
ENTRYPOINT ["topo-search"]
CMD ["--help"]
