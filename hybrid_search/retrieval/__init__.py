"""An encoder, an engine and a fusion that answer queries: at once, awaited, and through an alias that moves."""
