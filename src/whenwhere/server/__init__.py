"""A recogniser in a browser and behind a JSON API: ``whenwhere serve``, and the page of ``whenwhere watch``."""
