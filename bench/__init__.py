"""The benchmark kit: `python -m bench`. It starts the product with scripted engines, talks to it and measures."""
