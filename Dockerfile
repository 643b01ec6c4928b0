# slo-budget-tracker in a slim image: built in one stage, run in another, as an ordinary user, without build tools.
FROM python:3.12-slim AS build
WORKDIR /build
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN python -m venv /opt/slo-budget-tracker \
    && /opt/slo-budget-tracker/bin/pip install --no-cache-dir '.[postgresql]' \
    && /opt/slo-budget-tracker/bin/pip uninstall --yes pip

FROM python:3.12-slim
RUN useradd --system --home-dir /var/lib/slo-budget-tracker --create-home --uid 9724 tracker
COPY --from=build /opt/slo-budget-tracker /opt/slo-budget-tracker
ENV PATH=/opt/slo-budget-tracker/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    SLO_BUDGET_TRACKER_LEDGER__URL=sqlite:////var/lib/slo-budget-tracker/ledger.db \
    SLO_BUDGET_TRACKER_WEB__LISTEN=0.0.0.0:9724
# by number, so that Kubernetes can tell that it is not root
USER 9724
VOLUME /var/lib/slo-budget-tracker
EXPOSE 9724
HEALTHCHECK --interval=30s --timeout=6s --start-period=60s CMD ["slo-budget-tracker", "health", "-c", "/etc/slo-budget-tracker/slo-budget-tracker.yaml"]
ENTRYPOINT ["slo-budget-tracker"]
CMD ["run", "-c", "/etc/slo-budget-tracker/slo-budget-tracker.yaml"]
