"""All functions whose faults are known, as the events their executions would cause."""

try:
    import labelled_calls
    import labelled_states
    from imagined import PLATFORM, SCENARIOS, events_of
except ImportError:  # Imported from outside of this folder.
    from bench import labelled_calls, labelled_states
    from bench.imagined import PLATFORM, SCENARIOS, events_of

__all__ = ["PLATFORM", "SCENARIOS", "events_of", "labelled_calls", "labelled_states"]
