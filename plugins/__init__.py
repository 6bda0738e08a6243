"""The bundled methods, a folder each: plugin, maths, config, card. They import what an outsider may import."""
