# The example site as an image: no root, nothing of it can be written, no secret in any layer.
#
#   docker build -t oauthbff-site .
#   docker run --read-only --cap-drop=ALL --security-opt=no-new-privileges \
#     --tmpfs /tmp --env-file site.env -p 8000:8000 oauthbff-site
#
# Everything that is secret comes from the environment when it runs (README.md has the names);
# the build asks for nothing but packages. `manage.py` commands run in the same image:
#   docker run --rm --read-only --env-file site.env oauthbff-site python manage.py migrate

FROM docker.io/library/python:3.13-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /venv
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY oauthbff oauthbff
RUN /venv/bin/pip install '.[demo,otel]' 'psycopg[binary]>=3.2' 'redis>=5.2'

FROM docker.io/library/python:3.13-slim
RUN useradd --system --uid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin site
COPY --from=build /venv /venv
WORKDIR /site
COPY manage.py ./
COPY project project
COPY templates templates
ENV PATH=/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    DJANGO_SETTINGS_MODULE=project.settings
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
# gunicorn's heartbeat files go to memory: nothing else is written.
CMD ["gunicorn", "project.wsgi:application", "--bind=0.0.0.0:8000", "--worker-class=gthread", \
     "--workers=2", "--threads=8", "--worker-tmp-dir=/dev/shm", "--no-control-socket"]
