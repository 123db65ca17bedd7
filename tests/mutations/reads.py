"""Mutants of the reading side: versions, the cache and who looks things up together."""

from __future__ import annotations

from tests.mutations.mutant import Mutant

_CACHE = "tests/integration/test_cache.py"
_CACHED = "tests/acceptance/test_cached_reads.py"
_LOADER = "tests/unit/test_order_loader.py"
_RACE = "tests/integration/test_cache_race.py"
_TRUE = "tests/acceptance/test_true_reads.py"

READS = (
    Mutant(
        "versions are not compared",
        "api/reading.py",
        "        found = await self._loader.get(order_id, least)\n"
        "        if found is not None and found.version >= least:\n",
        "        found = await self._loader.get(order_id, least)\n        if found is not None:\n",
        (_TRUE,),
    ),
    Mutant(
        "a copy is good enough whatever its version",
        "api/loading.py",
        " and entry.version >= batch[order_id].at_least",
        "",
        (_LOADER,),
    ),
    Mutant(
        "a copy of an older generation is good enough",
        "api/loading.py",
        " and entry.generation >= oldest",
        "",
        (_LOADER,),
    ),
    Mutant(
        "every reader has a look of its own",
        "api/loading.py",
        "_LOOKS = 2  #",
        "_LOOKS = 2_000  #",
        (_LOADER,),
    ),
    Mutant(
        "a look that has ended is waited for",
        "api/loading.py",
        "sum(not look.done() for look in self._looks) < _LOOKS",
        "len(self._looks) < _LOOKS",
        (_LOADER,),
    ),
    Mutant(
        "what a replica says is kept",
        "api/loading.py",
        " and read.current",
        "",
        (_LOADER,),
    ),
    Mutant(
        "the last one to come stays in the cache",
        "consumer/cache/put.lua",
        "string.sub(there, 1, 54) < string.sub(entry, 1, 54)",
        "true",
        (_RACE,),
    ),
    Mutant(
        "commits are not marked",
        "consumer/cache/marks.py",
        "put = await self._cache.put(marks, MARKED)",
        "put = await self._cache.put({}, MARKED)",
        (_RACE,),
    ),
    Mutant(
        "marks that could not be made are forgotten",
        "consumer/cache/marks.py",
        "            if not await self._marked(due):\n",
        "            if not await self._marked(due) and not due:\n",
        (_CACHE,),
    ),
    Mutant(
        "a copy may be under way for as long as it likes",
        "consumer/cache/put.lua",
        "local late = before > 0 and now > before",
        "local late = false",
        (_CACHE,),
    ),
    Mutant(
        "erased orders are not marked",
        "consumer/projection.py",
        "        frozenset(tombstone.order_id for tombstone in verdicts.erased),\n",
        "        frozenset(),\n",
        (_CACHED,),
    ),
    Mutant(
        "what an operator changes is not renewed",
        "consumer/cache/marks.py",
        "    if not order_ids:\n        return\n",
        "    if order_ids:\n        return\n",
        (_CACHED,),
    ),
)
