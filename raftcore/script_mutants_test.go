//go:build mutants

package raftcore

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestScriptsFindPlantedBugs proves that scripts speak of what their first lines say: with the
// mistake planted, the script named does not print what it should, or a node stops.
func TestScriptsFindPlantedBugs(t *testing.T) {
	for _, find := range []struct {
		bug    int
		script string
	}{
		{1, "an_entry_of_an_older_term_is_committed_only_with_one_of_the_own_term"},
		{2, "a_split_vote_is_followed_by_another_election"},
		{3, "a_vote_is_not_given_twice_after_a_step_down_in_the_same_term"},
		{4, "a_vote_leaves_when_it_is_on_disk"},
		{5, "a_vote_leaves_when_it_is_on_disk"},
		{6, "a_candidate_with_the_longest_log_but_a_low_term_adopts_the_newer_term"},
		{7, "a_short_append_that_comes_late_cuts_nothing"},
		{8, "the_logs_of_figure_7_are_all_repaired"},
		{9, "a_single_voter_that_starts_again_reads_nothing_before_its_noop"},
		{109, "a_single_voter_that_starts_again_reads_nothing_before_its_noop"},
		{10, "answers_to_a_read_round_of_an_older_term_confirm_nothing"},
		{110, "a_deposed_leader_is_not_confirmed_by_answers_to_older_rounds"},
		{11, "appends_in_flight_commit_as_their_writes_complete"},
		{12, "an_acknowledgement_of_an_older_membership_does_not_count"},
		{13, "an_old_completion_makes_nothing_durable_that_was_overwritten_meanwhile"},
		{14, "two_leaves_of_four_nodes_do_not_overlap"},
		{15, "a_voter_becomes_a_learner_only_when_the_joint_configuration_is_left"},
		{115, "a_joint_election_needs_both_halves"},
		{16, "a_snapshot_replaces_a_newer_configuration_that_was_never_committed"},
		{20, "a_transfer_that_was_interrupted_does_not_bind_the_leader_when_it_is_elected_again"},
		{21, "a_commit_index_does_not_cover_what_is_not_known_to_match"},
		{22, "a_lease_counts_from_when_the_round_was_sent"},
		{122, "a_transfer_ends_the_lease_before_the_target_can_lead"},
		{25, "a_slow_follower_gets_a_snapshot_after_compaction"},
		{26, "a_commit_index_does_not_cover_what_is_not_known_to_match"},
		{27, "a_failed_snapshot_is_tried_again"},
		{28, "a_bridge_does_not_keep_a_useless_leader"},
		{29, "any_leader_leaves_the_joint_configuration_that_another_opened"},
	} {
		if got := playFile(t, find.script, 0); got != "" {
			t.Errorf("%s fails without a planted bug: %s", find.script, got)
		}
		if playFile(t, find.script, find.bug) == "" {
			t.Errorf("%s does not find M%d", find.script, find.bug)
		}
	}
}

// stopped is a test that was given up; the panic of a core is another.
type stopped string

// strict turns what would end the test into a panic that playFile catches.
type strict struct{ testing.TB }

func (s strict) Helper()                   {}
func (s strict) Fatal(args ...any)         { panic(stopped(fmt.Sprint(args...))) }
func (s strict) Fatalf(f string, a ...any) { panic(stopped(fmt.Sprintf(f, a...))) }

// playFile runs a script with a planted bug, and returns how it first differs from what it should
// print.
func playFile(t *testing.T, name string, bug int) (difference string) {
	text, err := os.ReadFile(filepath.Join("testdata/scripts", name+".txt"))
	if err != nil {
		t.Fatal(err)
	}
	Mutant = bug
	defer func() {
		Mutant = 0
		if p := recover(); p != nil {
			difference = fmt.Sprint("stopped: ", p)
		}
	}()
	s := script{t: strict{t}}
	for _, block := range strings.Split(string(text), "\n\n") {
		verbs, want, found := strings.Cut(block+"\n", "\n----\n")
		if !found {
			t.Fatalf("%s: a block without its result: %s", name, block)
		}
		lines := strings.Split(verbs, "\n")
		for strings.HasPrefix(lines[0], "#") {
			lines = lines[1:]
		}
		if got := s.run(lines); strings.TrimSpace(got) != strings.TrimSpace(want) {
			return got
		}
	}
	return ""
}
