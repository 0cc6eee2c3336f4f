package op

import "testing"

func TestFailuresTolerated(t *testing.T) {
	up, down := MemberStatus{Role: RoleVoter, State: "ok"}, MemberStatus{Role: RoleVoter, State: "down"}
	self := MemberStatus{Role: RoleVoter, Self: true}
	learner, leaving := MemberStatus{Role: RoleLearner, State: "ok"}, MemberStatus{Role: RoleLeaving}
	for _, c := range []struct {
		members       []MemberStatus
		leader        uint64
		voters, alive int
		want          int
	}{
		{[]MemberStatus{self}, 1, 1, 1, 0},
		{[]MemberStatus{self, up}, 1, 2, 2, 0},
		{[]MemberStatus{self, up, up}, 1, 3, 3, 1},
		{[]MemberStatus{self, up, up, learner, leaving}, 1, 3, 3, 1},
		{[]MemberStatus{self, up, down}, 1, 3, 2, 0},
		{[]MemberStatus{self, down, down}, 1, 3, 1, -1},
		{[]MemberStatus{self, up, up, up, up}, 1, 5, 5, 2},
		{[]MemberStatus{self, up, up}, 0, 3, 3, -1},
		{nil, 1, 0, 0, -1},
	} {
		s := Status{Leader: c.leader, Members: c.members}
		voters, alive := s.Voters()
		if got := s.FailuresTolerated(); got != c.want || voters != c.voters || alive != c.alive {
			t.Errorf("%+v: %d of %d, tolerates %d, want %d", c.members, alive, voters, got, c.want)
		}
	}
}

func TestAdminWords(t *testing.T) {
	for a, want := range map[AdminAction]string{MemberAdd: "add", LeaderTransfer: "transfer",
		0: "action 0", 7: "action 7", 255: "action 255"} {
		if a.String() != want {
			t.Errorf("%d is %q", a, a)
		}
	}
	if text := (NotLeaderError{Addr: "h:1"}).Error(); text == (NotLeaderError{}).Error() {
		t.Error(text)
	}
}
