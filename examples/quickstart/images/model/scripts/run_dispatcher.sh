#!/bin/sh
# Starts the stage of the pipeline that STAGE names; arguments go to the stage, and so do signals.
case "${STAGE:-}" in
    builder | A) stage=builder ;;
    runner | B) stage=runner ;;
    output | C) stage=output ;;
    *)
        echo "STAGE is '${STAGE:-}'; it must be builder (A), runner (B) or output (C)" >&2
        exit 1
        ;;
esac
exec python -m epidemic "$stage" "$@"
