"""Looking a server over: ``vitals`` fetches, the checks judge purely, ``diagnosis`` puts their findings together."""

from hybrid_search.engines.opensearch.doctor.diagnosis import Diagnosis, ModelFacts, diagnose, examine
from hybrid_search.engines.opensearch.doctor.findings import Finding
from hybrid_search.engines.opensearch.doctor.vitals import IndexVitals, Vitals

__all__ = ["Diagnosis", "Finding", "IndexVitals", "ModelFacts", "Vitals", "diagnose", "examine"]
