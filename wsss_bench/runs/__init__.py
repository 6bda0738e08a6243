"""From a request to recorded results: plan, session, pipeline, stages, scoring, records."""
