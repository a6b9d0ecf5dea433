# The HTTP service: docker build -t hybrid-search . && docker run -v ./index:/index:ro -p 127.0.0.1:8000:8000 hybrid-search
# Any other command of hybrid-search runs too: docker run … hybrid-search info /index
FROM docker.io/library/python:3.13-slim AS build
WORKDIR /source
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY hybrid_search hybrid_search
COPY loaders loaders
COPY mappings mappings
RUN python -m venv /opt/hybrid-search \
    && /opt/hybrid-search/bin/pip install --no-cache-dir --constraint constraints.txt '.[serve,async]'

FROM docker.io/library/python:3.13-slim
COPY --from=build /opt/hybrid-search /opt/hybrid-search
RUN useradd --uid 10001 --create-home searcher
USER 10001
ENV PATH=/opt/hybrid-search/bin:$PATH
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=5s --start-period=20s CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/health/ready', timeout=4)"]
ENTRYPOINT ["hybrid-search"]
CMD ["serve", "/index", "--host", "0.0.0.0"]
