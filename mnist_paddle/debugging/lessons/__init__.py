"""The lessons: scripts lesson_NN_broken.py and lesson_NN_solution.py with comments in two languages, and texts, lesson_NN.yaml.

What a script prints is beside it, lesson_NN_broken.txt: its output with Paddle 3.3, which `mnist-paddle lesson` shows.
"""
