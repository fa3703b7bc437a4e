//! What is said of a release, and by whom: in-toto statements in DSSE envelopes, and the bundles in which they travel.
