"""The edit distance of two words, for suggestions after typing errors."""


def edit_distance(one: str, other: str) -> int:
    """Return the number of insertions, deletions, replacements and swaps of neighbours between two words.

    The optimal string alignment distance; time and memory grow with the product of the lengths, of which only the first
    40 characters count.
    """
    one, other = one[:40], other[:40]
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        before, last, row = row, before, [i]
        for j, against in enumerate(other, 1):
            best = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != against))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == against:
                best = min(best, last[j - 2] + 1)
            row.append(best)
    return row[-1]
