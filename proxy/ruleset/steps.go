package ruleset

// StepsTo are the options that lie between o and another, for packets that are on
// their way. A transaction takes effect at once, but a packet meets the table
// twice: it is marked when it comes in and masqueraded when it goes out. So while
// the mark changes, both are taken: first the new one besides the old, then the new
// one is written and the old one still taken.
func (o *Options) StepsTo(to *Options) []Options {
	if o.MasqueradeMark == to.MasqueradeMark {
		return nil
	}
	first, second := *to, *to
	first.MasqueradeMark, first.FormerMark = o.MasqueradeMark, to.MasqueradeMark
	second.FormerMark = o.MasqueradeMark
	return []Options{first, second}
}
