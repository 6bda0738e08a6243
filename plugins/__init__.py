"""The bundled methods, each in a folder of its own: plugin, maths, config, card. They import what an outsider may import."""
