package resp

import (
	"strings"
	"testing"
)

func TestOptionsAreValidated(t *testing.T) {
	for want, o := range map[string]Options{
		"must exceed proto-max-bulk-len": {Limits: Limits{BulkBytesMax: 1 << 20, QueryBytesMax: 1 << 20}},
		"not positive":                   {Limits: Limits{MaxClients: -1}},
		"one line":                       {Password: "a\n"},
		"redirects anyway":               {Mode: Cluster, RedirectMoved: true},
		"-5 is not positive":             {Shared: NewShared(Limits{ElementsMax: -5})},
	} {
		if err := o.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if err := (&Options{}).Validate(); err != nil {
		t.Error(err)
	}
}
