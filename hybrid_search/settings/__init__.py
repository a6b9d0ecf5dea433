"""All settings: frozen, validated, JSON in and out."""
