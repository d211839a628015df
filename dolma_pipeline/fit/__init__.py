"""Models that score text, trained from sets of documents: `dolma-pipeline fit`.

sets        what a set of documents is: files, or documents of a finished run that a rule chooses
sample      which documents of a set are taken: each text once, the smallest keys
gather      their texts, in the order of their keys, one part to train on and one held out
measures    what scores are worth: AUC, precision, thresholds, and how much of it the source alone tells
classifier  trains a fastText classifier and measures it
card        what is written beside a model; `fit_text` shows it
"""
