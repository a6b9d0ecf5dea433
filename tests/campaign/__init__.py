"""A campaign against the product: kills, power loss, threads, full disks, hostile places, generated input.

``make campaign`` runs all of it for about an hour; the tests of this folder run the same code for a short while. It
uses the public surface only, so that what lies below can be rebuilt. ``attack`` says what an attack is, ``catalogue``
lists them.
"""
