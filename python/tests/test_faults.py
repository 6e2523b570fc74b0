"""Faults of other implementations, by number, and what fails where one is back: FILE: NAME is test_fault_NN_NAME there.

01  mappings copied deeply, memo missed
      faults_kernelize: a_repository_is_loaded_once_in_any_number_of_scopes
      faults_mapping: deep_copies
      faults_mapping: a_scope_costs_what_its_own_entries_cost
02  registration not atomic
      faults_mapping: registration_is_all_or_nothing
      faults_mapping: a_scope_that_is_not_entered_leaves_nothing
03  mappings not isolated between threads
      faults_mapping: threads_see_a_mapping_that_replaces
04  scopes not re-entrant
      faults_mapping: a_scope_object_is_reentrant
05  mode tables by reference, useless keys
      faults_mapping: the_callers_dictionaries_are_copied
      faults_mapping: keys_that_nothing_selects_are_refused
06  intervals broken by rotation
      faults_mapping: the_same_interval_replaces
      faults_mapping: intervals_in_a_tree
07  capability read once a process
      faults_kernelize: the_capability_is_that_of_each_device_when_it_is_asked
08  a device that is not here raises
      faults_kernelize: a_device_that_is_not_here_is_no_exception
09  torch.device and cuda on ROCm; gfx names as numbers
      device: rocm_counts_however_the_device_is_given
      faults_kernelize: rocm_is_meant_by_every_spelling_of_cuda_there
      faults_loading: code_for_another_gpu_of_the_same_capability_is_not_taken
10  the first parameter decides the device
      faults_kernelize: buffers_say_where_a_model_is
      faults_kernelize: a_meta_model_is_said
      faults_kernelize: each_module_has_the_device_of_its_own_tensors
11  documents and code disagree
      faults_mapping: what_documents_wrote_works
12  not transactional
      faults_kernelize: all_or_nothing
13  no way back
      faults_kernelize: the_way_back
14  instance forwards overwritten blindly
      faults_kernelize: nothing_is_written_where_nothing_is_found
      faults_kernelize: a_class_can_be_patched_later
      faults_kernelize: somebody_elses_forward_survives
15  pickles drop the kernel, replicas call the original
      faults_kernelize: saved_and_loaded_with_its_kernel
      faults_kernelize: bound_again_to_the_same_content_else_one_warning
      faults_kernelize: replicas_call_their_own_weights
16  layer names inherited by other forwards
      faults_kernelize: a_subclass_with_its_own_forward_is_not_replaced
17  validation memoized away, names not compared
      faults_kernelize: each_class_is_held_against_the_layer
      faults_kernelize: names_and_defaults_that_differ_are_told
18  silent fallbacks
      faults_kernelize: every_decision_can_be_read
      faults_kernelize: is_warned_of_once
19  root logger
      faults_kernelize: the_root_logger_is_left_alone
20  memo never expires
      faults_mapping: a_branch_that_moved_is_loaded_anew
      faults_mapping: what_a_repository_of_ones_own_loaded_can_be_dropped
21  unused wrong entries rejected
      faults_kernelize: a_wrong_entry_counts_when_it_is_asked_for
22  functions are one for all models: conflicts are told
      faults_kernelize: the_last_kernelize_wins_and_says_so
      faults_kernelize: undoing_one_of_two_models_is_told
23  copies and pickles of functions
      decorators: a_function_keeps_what_it_is
      decorators: c_functions
      decorators: pickled_by_name_and_copied_as_itself
      decorators: models_with_functions_are_copied_and_saved
      faults_kernelize: a_copy_runs_the_same_function
24  nothing verified when loading
      faults_loading: what_is_loaded_was_checked
      faults_loading: hashes_of_a_lock_count
25  caller's lock not found
      faults_loading: the_callers_lock_is_found
      repos: the_lock_of_the_callers_distribution
26  build hook of a removed module
      faults_loading: the_hook_of_setuptools_imports_and_writes
27  lockfile required
      faults_loading: load_kernel_takes_the_lock_positionally_or_finds_it
28  trust lists unhashable, trust asked again
      faults_loading: trust_as_a_list_and_asked_once
29  redirects after trust
      faults_loading: a_redirect_is_trusted_by_where_it_leads
30  ids replace modules
      faults_loading: an_id_replaces_no_module
31  executed again, names differ by process
      faults_loading: executed_once_by_one_name_in_every_process
32  archs ignored
      faults_loading: code_for_other_devices_is_not_taken
33  variant names ambiguous
      faults_loading: names_that_are_none_are_refused_with_a_reason
34  has_kernel disagrees
      faults_loading: has_kernel_says_what_get_kernel_does
35  metadata missing or old
      faults_loading: metadata_of_older_builds
      faults_loading: metadata_that_is_missing_or_bad
36  LOCAL_KERNELS, offline
      faults_loading: local_kernels_obeys_the_backend
      faults_loading: one_cached_variant_is_enough_offline
37  lock without a table, without tvm-ffi variants
      faults_loading: a_project_that_locks_nothing_is_told_what_is_missing
      faults_loading: every_variant_is_in_the_sums_in_one_order
38  verbs import the world
      faults_loading: the_command_line_imports_nothing
      faults_loading: no_verb_starts_python
39  benchmark
      faults_loading: no_half_benchmark
40  DISABLE_KERNEL_MAPPING, Python 3.10
      faults_mapping: disabled_in_words
      faults_mapping: read_at_each_call
      faults_mapping: every_file_is_of_the_python_that_is_declared
"""

import re

from conftest import TESTS


def test_every_fault_has_its_tests_and_the_table_names_them():
    named, number = set(), 0
    for line in __doc__.splitlines():
        if fault := re.fullmatch(r"(\d\d)  \S.*", line):
            number += 1
            assert int(fault[1]) == number
        elif test := re.fullmatch(r"      (\w+): (\w+)", line):
            named.add((f"test_{test[1]}.py", f"test_fault_{number:02}_{test[2]}"))
    there = set()
    for file in TESTS.glob("test_*.py"):
        there |= {(file.name, name) for name in re.findall(r"^def (test_fault_\w+)", file.read_text(), re.MULTILINE)}
    assert named <= there and number == 40
    assert {name[len("test_fault_") :][:2] for _, name in named} == {f"{n:02}" for n in range(1, 41)}
