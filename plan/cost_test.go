package plan

import "testing"

func TestCost(t *testing.T) {
	for _, c := range []struct {
		limits Limits
		bytes  int64
		usd    float64
		text   string
	}{
		{Limits{Metered: true, CostPerMB: 0.5}, 2_400_000, 1.2, "about 1.20 USD"},
		{Limits{Metered: true, CostPerMB: 0.5}, 1000, 0.0005, "less than 0.01 USD"},
		{Limits{CostPerMB: 0.5}, 2_400_000, 0, ""},
		{Limits{Metered: true}, 2_400_000, 0, ""},
	} {
		p := &Plan{FetchBytes: c.bytes, in: Input{Limits: c.limits}}
		if usd := p.Cost(); usd != c.usd || usd > 0 && Dollars(usd) != c.text {
			t.Errorf("%+v: %v, %q", c, usd, Dollars(usd))
		}
	}
}
