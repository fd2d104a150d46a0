"""CPU time, memory and affinity of processes."""

import os
import subprocess
import sys
import time

from bench import cpu


def test_process_tree_contains_children():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert cpu.process_tree(os.getpid())[0] == os.getpid()
        assert child.pid in cpu.process_tree(os.getpid())
        child.communicate(b"\n")


def test_cpu_time_grows_with_work():
    before, start = cpu.seconds([os.getpid()]), time.process_time()
    while time.process_time() - start < 0.05:
        pass
    after = cpu.seconds([os.getpid()])
    assert 0.03 < after - before < time.process_time() - start + 0.1


def test_exited_process_has_no_cpu_time_and_no_children():
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        child.wait(30)
    assert cpu.process_tree(child.pid) == [child.pid]
    assert (cpu.seconds([child.pid]), cpu.memory([child.pid])) == (0, 0)


def test_memory_is_in_bytes():
    assert 1 << 20 < cpu.memory([os.getpid()]) < 1 << 34


def test_server_and_load_use_separate_cpus_if_possible():
    where = cpu.choose_cpus()
    assert where.server and where.load
    assert where.server != where.load or len(os.sched_getaffinity(0)) == 1
