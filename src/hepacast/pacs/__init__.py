"""Between hepacast and the PACS: asking, fetching and sending (DICOMweb, DIMSE), and a node that listens.

What lives here: peers, rules that choose series, the queue on disk, de-identified copies.
What may not: how a prediction is made, how DICOM objects are built; and nothing of a patient's identity is logged.
"""
