"""The recognizer: four stages, each a folder of choices, each choice one file and one yaml.

``stage.py`` has the contract of a stage. B is the batch, C channels, H and W pixels, T time steps
along the line:

=====================  ==========================================  =========================
stage                  takes                                       gives
=====================  ==========================================  =========================
transformation         images (B, C, H, W)                         images (B, C, H, W)
feature_extraction     images (B, C, H, W)                         features (B, T, D)
sequence_modeling      features (B, T, D)                          features (B, T, D')
prediction             features (B, T, D')                         loss, scores, texts
=====================  ==========================================  =========================

T are steps along the line. A feature extraction may keep one for each place of the image instead,
row by row: see ``along_line`` in ``stage.py``.

The four-stage frame is that of Baek et al., "What Is Wrong With Scene Text Recognition Model
Comparisons? Dataset and Model Analysis", ICCV 2019.
"""
