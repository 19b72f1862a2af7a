# From NAME.mrc (with NAME.mrc.mdoc, NAME.mdoc or NAME.rawtlt beside it) to a volume and its pictures:
#
#     make -f "$(etcli --recipe make)" NAME_rec.mrc NAME_slices.png
#
# or, as a line of your own Makefile:
#
#     include $(shell etcli --recipe make)
#
# Any step may be changed by its variable, for example BIN=4 or RECON="--method fbp --filter hann".
#
# From there to the bodies in it: their labels NAME_labels.mrc, a table of their numbers with errors, their surfaces:
#
#     make -f "$(etcli --recipe make)" NAME_measures.csv NAME.stl
#
# Metal on a support: RECON="--method fista --nonnegative" SEGMENT="--method dense".
#
# From NAME_si.hspy (.npz, .emd, .dm4; spectrum images) and NAME.mrc (dark field) to a volume of each element,
# NAME_element_Ni.mrc and so on, with their numbers in NAME_element.json:
#
#     make -f "$(etcli --recipe make)" ELEMENTS=Ni,Co,Pt NAME_element.json

ETCLI ?= etcli
BIN ?= 1
FILTER ?= --method despike
REGISTER ?=
TILTALIGN ?=
RECON ?= --method sirt --iterations 30 --nonnegative
SEGMENT ?=
MEASURE ?=
MESH ?=
ELEMENTS ?=
DECOMPOSE ?=
FUSE ?=

.SECONDARY:
.DELETE_ON_ERROR:

# A step is made again when its variable has changed: each is kept in a file that is rewritten only then. make -n
# writes nothing, and takes the file for new.
dry = $(findstring n,$(firstword -$(MAKEFLAGS)))
keep = $(if $(dry),$(eval .PHONY: .etcli_$1),$(shell printf '%s\n' '$($1)' > .etcli_$1))
kept = $(if $(shell printf '%s\n' '$($1)' | cmp -s - .etcli_$1 || echo changed),$(call keep,$1))
variables = BIN FILTER REGISTER TILTALIGN RECON SEGMENT MEASURE MESH ELEMENTS DECOMPOSE FUSE
$(foreach variable,$(variables),$(call kept,$(variable)))
# An empty rule: make may have listed the folder, as for an include, before these files were there.
$(foreach variable,$(variables),.etcli_$(variable)): ;

%_bin.mrc: %.mrc .etcli_BIN
	$(ETCLI) bin --factor $(BIN) $< $@

%_clean.mrc: %_bin.mrc .etcli_FILTER
	$(ETCLI) filter $(FILTER) $< $@

%_pre.mrc: %_clean.mrc .etcli_REGISTER
	$(ETCLI) register $(REGISTER) --write-xf $*.prexf.xf --plot $*_shifts.png $< $@

# both alignments are applied to the filtered views at once, by one interpolation
%_ali.mrc: %_clean.mrc %_pre.mrc .etcli_TILTALIGN
	$(ETCLI) tiltalign $(TILTALIGN) --prexf $*.prexf.xf --write-xf $*.xf --plot $*_axis.png $< $@

%_rec.mrc: %_ali.mrc .etcli_RECON
	$(ETCLI) recon $(RECON) $< $@

%_slices.png: %_rec.mrc
	$(ETCLI) view --slices $< $@

%_labels.mrc: %_rec.mrc .etcli_SEGMENT
	$(ETCLI) segment $(SEGMENT) --plot $*_labels.png $< $@

%_measures.csv: %_rec.mrc %_labels.mrc .etcli_MEASURE
	$(ETCLI) measure $(MEASURE) --csv $@ --plot $*_measures.png $*_rec.mrc $*_labels.mrc

%.stl: %_labels.mrc .etcli_MESH
	$(ETCLI) mesh $(MESH) $< $@

%_views.png: %_ali.mrc
	$(ETCLI) view $< $@

comma = ,
elements = $(subst $(comma), ,$(ELEMENTS))
# a map, and the parts of its counts by which fuse chooses its weights
parts = $(foreach element,$(elements),$1_$(element).mrc $1_$(element)_train.mrc $1_$(element)_test.mrc)

define decomposed
%_map_sum.mrc: %_si.$1 .etcli_ELEMENTS .etcli_DECOMPOSE
	$$(ETCLI) decompose --elements $$(or $$(ELEMENTS),$$(error give the elements, as in ELEMENTS=Ni,Co)) $$(DECOMPOSE) --plot $$*_spectra.png $$< $$*_map.mrc
endef
$(foreach ending,hspy npz emd dm4,$(eval $(call decomposed,$(ending))))

# maps have no views but some of the dark field's: each follows that of its own tilt angle
%_aligned_map_sum.mrc: %_map_sum.mrc %_ali.mrc
	$(ETCLI) xform --linear --xf $*.xf $< $(call parts,$*_map) $*_aligned_map.mrc

%_element.json: %_aligned_map_sum.mrc %_ali.mrc .etcli_FUSE
	$(ETCLI) fuse $(FUSE) --haadf $*_ali.mrc --plot $*_element.png --json \
	    $(foreach element,$(elements),$*_aligned_map_$(element).mrc) $*_element.mrc > $@
