"""Prediction: owns its tokenizer, its loss and its decoding, so that no one else asks which it is.

Every choice has

- ``loss(features, labels)``: the mean loss of a batch of labels, a scalar;
- ``forward(features)``: raw scores (B, T, classes);
- ``decode(scores)``: the texts and their confidences;
- ``class_tensors``: the names of its parameters whose rows are classes, and ``first_character``:
  the row of the charset's first character. Fine-tuning carries rows over by character.
"""
